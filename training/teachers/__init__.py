"""Teachers: the models whose scores a student learns."""
