"""Texts as vectors, for the semantic cache and for whoever needs them.

    with LocalEmbedder() as embedder:                      # extra `local`
        vectors = embedder.embed(["How do I pay?", "Ways to pay"])
        vector = await embedder.aembed("How can I pay?")   # batched with whoever asks meanwhile

    EndpointEmbedder("https://host/v1", "text-embedding-3-small", dimension=1536, window=8191)

Importing this loads neither numpy nor a model.
"""

from __future__ import annotations

from sentinel.semantic.embedder import Embedder
from sentinel.semantic.endpoint_embedder import EndpointEmbedder
from sentinel.semantic.local_embedder import LocalEmbedder

__all__ = ["Embedder", "EndpointEmbedder", "LocalEmbedder"]
