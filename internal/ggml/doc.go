// Package ggml is the block formats of ggml, the tensor library of llama.cpp: a row of the table [Formats] for each type of a tensor in a
// GGUF file, with what it takes and, where it has them, its reader and writer. A format's code is in a file of its own, named after it.
//
// Reading gives the bits that ggml's own dequantisation gives. Writing follows ggml's reference quantisers without an importance matrix,
// step by step in float32, so that the blocks of Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 are ggml's own, and those of the K formats but for sums
// that a compiler orders otherwise.
package ggml
