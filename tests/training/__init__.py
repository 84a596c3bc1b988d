"""Tests of what the small model is trained on and judged by."""
