// Package nn is adaptflow's model engine: a model is a straight-line program of coarse differentiable ops (embedding,
// norm, linear, attention, gated activation, head), each with a hand-written forward and backward.
//
// Models and adapter methods write only the forward wiring, through a Builder; the backward pass is the program in
// reverse. A frozen weight is a field of its op and a trainable one is an input of its op, so that no gradient of a
// frozen weight exists, a frozen linear keeps nothing for its backward, and the backward walk stops below the lowest
// adapter.
//
// A program is planned once, at the capacities of its extents (tokens, supervised positions, documents, cache rows):
// every buffer gets its place in one arena outside the Go heap, and a step allocates nothing.
package nn
