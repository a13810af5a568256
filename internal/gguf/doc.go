// Package gguf reads and writes GGUF, the file of llama.cpp and Ollama: metadata, then descriptions of tensors, then their data. Its layout
// is in https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; formats of blocks are in package ggml.
//
// Reading is strict: what a file says of itself is checked before memory is taken for it, and a file that lies, or ends too early, is an
// error that names the file and what in it is wrong. Shapes are in the order of this module, that of Hugging Face: rows first, the fastest
// dimension last; in the file it is the reverse.
package gguf
