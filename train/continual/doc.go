// Package continual is what continual learning decides: whether an increment is kept, which sequences are replayed, and what the history
// says.
//
// A run takes files one increment at a time. Each increment starts from the adapter of the version before it, is trained on its own text
// and on a replay of what came before, and becomes a version, or is rolled back where it costs more than the limits allow. Nothing here
// knows Beam, models or folders of a run.
package continual
