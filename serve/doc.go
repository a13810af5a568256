// Package serve answers over HTTP as OpenAI's API does, with one base model and any number of adapters by name, on the processors of one
// machine. An [Engine] answers: [Live] is one, which continues the sequences of all requests together, each step those that are there, each
// with its own adapter. A [Server] is the wire before an engine.
//
// An answer depends on its request alone: no bit of it on what else is answered at the same time, on the number of threads, or on which
// adapters are in memory.
//
// Everything is closed until it is opened: see [Keys] and [Server].
package serve
