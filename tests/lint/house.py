print("lint: not here yet")
