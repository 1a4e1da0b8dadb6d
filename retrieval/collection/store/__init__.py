"""What a collection keeps on disk: the database and the segments."""
