"""Reports: one HTML file that holds everything it needs and asks nothing of any network."""
