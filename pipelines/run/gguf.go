package run

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/measure"
)

// ggufSequences is the most held-out sequences that a GGUF file is measured on: both models see the same tokens, so that few show the
// difference.
const ggufSequences = 16

// gguf measures what storing the merged model in fewer bits costs on held-out text; nil where the recipe asks for no such file, where no
// perplexity was measured, and where the file is not on this machine's disk.
func (r *Run) gguf(d *Data, after *measure.Results) (*export.GGUFPerplexity, error) {
	c := &r.Recipe.Export
	if c.GGUF == "" || after.Domain == nil || len(d.Domain) == 0 {
		return nil, nil
	}
	if r.Work != "" {
		r.Tell("the perplexity of the GGUF file is measured where the output is a folder of this machine: ask adaptflow gguf model " +
			"--evaluate")
		return nil, nil
	}
	r.Tell("measuring the GGUF file")
	p, err := Record(r, "gguf", func() (*export.GGUFPerplexity, error) {
		p, err := export.MeasureGGUF(r.modelDir, filepath.Join(r.Output, AdapterDir), export.GGUFFile(r.Output), r.heldOut(d))
		if err == nil {
			p.Quant = c.GGUF
		}
		return p, err
	})
	return p, err
}

// errEnough ends the reading of shards.
var errEnough = errors.New("enough")

// heldOut are the first sequences of the domain's held-out shards that have a loss.
func (r *Run) heldOut(d *Data) export.Sequences {
	return func(*infer.Model) (out []datasets.Sequence, err error) {
		for _, ref := range d.Domain {
			s, err := datasets.OpenShard(ref.Path)
			if err != nil {
				return nil, err
			}
			err = s.Each(func(q *datasets.Sequence) error {
				if slices.ContainsFunc(q.Labels, func(l int32) bool { return l != datasets.NoLoss }) {
					out = append(out, *q)
				}
				if len(out) == ggufSequences {
					return errEnough
				}
				return nil
			})
			if err = errors.Join(err, s.Close()); errors.Is(err, errEnough) {
				return out, nil
			}
			if err != nil {
				return nil, err
			}
		}
		return out, nil
	}
}
