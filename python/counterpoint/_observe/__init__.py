"""What the objects of a running program did: the registry behind `counterpoint run`."""
