"""The orders service: a small API to rehearse failures with."""
