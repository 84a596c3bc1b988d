"""RIFE: doubles the frame rate of a clip by real motion rather than by blending.

This face is free of torch: it finds and fetches the weights. The network itself is
`inference.rife.interpolate.Interpolator`, imported where a device is at hand. Network and weights follow
RIFE 3.6 HD by Megvii, MIT licensed; the notice stands beside this file.
"""

from inference.rife.weights import RifeWeightsError, fetch_rife_weights, find_rife_weights

__all__ = ["RifeWeightsError", "fetch_rife_weights", "find_rife_weights"]
