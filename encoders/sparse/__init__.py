"""Learned sparse encoders."""
