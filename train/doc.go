// Package train fine-tunes adapters: batches from packed sequences, losses over log-probabilities, optimisers, schedules,
// clipping, accumulation, replicas, checkpoints. It knows nothing of Beam. Names are those of Hugging Face TrainingArguments.
package train
