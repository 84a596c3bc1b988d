"""How the small model of `inference/cogreel_small` was made: moving shapes, their captions, and the training.

Needs what a worker needs (torch, diffusers, transformers) and nothing that is downloaded: the clips are drawn
here. The service imports nothing of this package; `bench/` and the tests use its scenes and its pixel checker.
"""
