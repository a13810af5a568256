// Package infer has models that answer: a base model with its weights stored as is wanted, adapters over it, one alone or
// several by name, and what is asked of them: text continued ([Model.Generate], [Model.Complete], [Model.Samples]), scored
// ([Model.Score], [Model.Scorer]), pooled to vectors ([Model.Embed]), logits of given ids ([Model.Logits]). It writes the
// models that come of a base and an adapter, too: [Merge], [Unmerge], [Combine], [Quantize].
//
// A [Base] is opened once and answers with any number of adapters; its memory is freed when it and all that stand over it are closed.
// The package knows no Beam and changes nothing of its process.
package infer
