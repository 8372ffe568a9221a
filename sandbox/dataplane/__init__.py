"""ECS of the sandbox: its API, and a data plane that runs each task as a real local process.

Knows what AWS documents of ECS. Must not know anything of xai-ops.
"""
