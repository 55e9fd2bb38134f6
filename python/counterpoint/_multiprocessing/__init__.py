"""What `counterpoint.multiprocessing` is made of."""
