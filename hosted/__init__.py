"""The words of the hosted service: how it tells of a result and of a failure, wherever it tells.

Answers over HTTP and webhooks say the same of the same request. So what both say stands here, made from messages of the
contract, and knows neither how it is asked for nor where it is kept.
"""
