"""Collections: documents, encoders and indexes kept together on disk."""
