"""The HTTP door: the queue protocol that the published fal clients speak, mapped onto the gRPC contract.

It is one more caller of the service, with the API key of whoever calls it, and keeps nothing between calls. The words
IN_QUEUE and IN_PROGRESS, and the protocol's paths, headers and error bodies, exist here and nowhere else.
"""
