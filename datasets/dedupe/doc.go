// Package dedupe finds documents, lines and sentences that occur more than once: exact hashes, MinHash signatures with locality-sensitive
// bands, clusters of what they link, spans of sentences. Everything here is pure; the arithmetic, the order and what is kept are
// datatrove's, so that the same documents go.
package dedupe
