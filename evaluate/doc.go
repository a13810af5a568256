// Package evaluate measures models: perplexity on a text before and after adaptation, and continuations by sampling with a KV cache.
package evaluate
