package train

import (
	"errors"
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/internal/philox"
)

// How the epochs follow one another, [Args.Order].
const (
	// OrderWrapped fills the last batch of an epoch from the next one. Runs that were begun before there was another order keep it, and so
	// does a stride.
	OrderWrapped = 0
	// OrderEpochs ends an epoch with a smaller batch, or with dataloader_drop_last before it, as Hugging Face's Trainer.
	OrderEpochs = 1
)

// Order says which sequences each optimiser step takes: for each epoch a seeded permutation of the n sequences by their place in the
// shards, cut into batches, or a fixed stride. It depends on the settings and n alone.
type Order struct {
	args  *Args
	n     int
	epoch int
	perm  []int
}

// NewOrder orders n sequences.
func NewOrder(args *Args, n int) *Order { return &Order{args: args, n: n, epoch: -1} }

// Batch is what a replica takes in a step (counted from 0): indices of sequences, a list a micro-batch. The replicas of a sync step share
// its batch, those of a local round take turns. The last step of an epoch has fewer, a replica of a sync step perhaps none.
func (o *Order) Batch(step, replica int) [][]int {
	a := o.args
	b, acc := a.PerDeviceTrainBatchSize, a.GradientAccumulationSteps
	var out [][]int
	if a.wraps() {
		at := ((step*a.Replicas + replica) * acc) * b
		for m := range acc {
			micro := make([]int, b)
			for j := range micro {
				micro[j] = o.at(at + m*b + j)
			}
			out = append(out, micro)
		}
		return out
	}
	replicas := a.Replicas
	if a.Mode == "local" {
		step, replica, replicas = step*replicas+replica, 0, 1
	}
	unit, used := a.GlobalBatch(), a.used(o.n)
	epoch, from := step/a.perEpoch(o.n), step%a.perEpoch(o.n)*unit
	to := min(from+unit, used)
	share := ceil(to-from, replicas) // so that as few as can be have nothing to do
	to = min(to, from+share*(replica+1))
	for from += share * replica; from < to; from += b {
		micro := make([]int, min(b, to-from))
		for j := range micro {
			micro[j] = o.at(epoch*o.n + from + j)
		}
		out = append(out, micro)
	}
	return out
}

// at is the index of the k'th sequence of all epochs.
func (o *Order) at(k int) int {
	if s := o.args.Stride; s > 0 {
		return int(uint64(k) * uint64(s) % uint64(o.n))
	}
	if e := k / o.n; e != o.epoch {
		o.epoch = e
		o.perm = philox.NewKey(o.args.Seed, "order", fmt.Sprint(e)).Permutation(o.n)
	}
	return o.perm[k%o.n]
}

func ceil(a, b int) int { return (a + b - 1) / b }

// wraps says whether batches go on from one epoch to the next.
func (a *Args) wraps() bool { return a.Order == OrderWrapped || a.Stride > 0 }

// LeastSequences is the least number of sequences that make a batch.
func (a *Args) LeastSequences() int {
	if !a.DataloaderDropLast {
		return 1
	}
	if a.Mode == "sync" {
		return a.PerDeviceTrainBatchSize * a.Replicas
	}
	return a.PerDeviceTrainBatchSize
}

// used is how many of n sequences an epoch takes.
func (a *Args) used(n int) int {
	whole := a.LeastSequences() // what is not a whole batch of every replica is dropped; a step may have fewer micro-batches
	return n / whole * whole
}

// perEpoch is the number of optimiser steps of an epoch of n sequences, transformers' num_update_steps_per_epoch.
func (a *Args) perEpoch(n int) int { return max(1, ceil(a.used(n), a.GlobalBatch())) }

// StepsFor is the number of optimiser steps over n training sequences.
func (a *Args) StepsFor(n int) int {
	switch {
	case a.MaxSteps > 0:
		return a.MaxSteps
	case a.wraps():
		return max(1, int(math.Ceil(a.NumTrainEpochs*float64(n)/float64(a.GlobalBatch()))))
	}
	return max(1, int(math.Ceil(a.NumTrainEpochs*float64(a.perEpoch(n)))))
}

// GlobalBatch is the number of sequences of one optimiser step: of all replicas in sync mode, of one in local mode.
func (a *Args) GlobalBatch() int {
	n := a.PerDeviceTrainBatchSize * a.GradientAccumulationSteps
	if a.Mode == "sync" {
		n *= a.Replicas
	}
	return n
}

// silent is the error of a step in which no token has a loss: the optimiser would move the parameters by its momentum and weight decay
// alone. Runs in the order of earlier versions take such steps, as those did.
func (a *Args) silent(step int, docs []string) error {
	if a.Order == OrderWrapped {
		return nil
	}
	return fmt.Errorf("step %d: no token of its batch has a loss (documents %v): leave them out, or prepare the data again, which "+
		"rejects them", step+1, docs)
}

// batches says why n sequences make no batch.
func (a *Args) batches(n int) error {
	if n <= 0 {
		return errors.New("train: no training sequences")
	}
	if !a.wraps() && a.used(n) == 0 {
		return fmt.Errorf("train: %d training sequences are fewer than a batch (per_device_train_batch_size %d, %d replicas), and "+
			"dataloader_drop_last drops them all: "+
			"lower per_device_train_batch_size, or leave out dataloader_drop_last", n, a.PerDeviceTrainBatchSize, a.Replicas)
	}
	return nil
}
