// Package peft has the adapter methods, with the names, the configuration and the folder format of Hugging Face PEFT 0.21.
//
// A method is one file and one row of the table [Methods]: a configuration with HF's field names, and the wiring that adds
// it to a model's sites. [New] makes an adapter from a configuration, [Open] reads an adapter folder; both attach it
// to the sites of one base model, after which the [Adapter] is an nn.Adapter to compile a program with.
//
// Nothing is ignored: an unknown field, a known field that is not implemented and set, a target that matches nothing,
// a missing, extra or mis-shaped tensor are errors that name it.
package peft
