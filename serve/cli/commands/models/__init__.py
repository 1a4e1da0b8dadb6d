"""Commands about encoders."""
