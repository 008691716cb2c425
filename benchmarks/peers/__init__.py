"""Tools that know which periods are missing too, each with an environment and a process of its own."""
