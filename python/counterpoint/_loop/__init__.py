"""The event loop; its public names are in `counterpoint.aio`."""
