"""The life of a request on NATS JetStream: state machine, queue, events.

Everything that `service` and `inference` know of each other is here. Begin with `states` (what may happen),
`publisher` (how it is decided) and `dispatch` (how a worker gets it); `view` and `watch` are the readers' side.
"""
