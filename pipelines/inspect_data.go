package pipelines

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// funnelFacts shows what each stage of preparing took out.
func funnelFacts(funnel []datasets.FunnelStage) []Fact {
	var out []Fact
	for _, s := range funnel {
		out = append(out, Fact{s.Name, fmt.Sprintf("%d in, %d kept, %d changed", s.In, s.Kept, s.Changed)})
		for _, k := range sortedKeys(s.Rejected) {
			out = append(out, Fact{"  rejected: " + k, s.Rejected[k]})
		}
		for _, k := range sortedKeys(s.Counters) {
			out = append(out, Fact{"  counted: " + k, s.Counters[k]})
		}
	}
	return out
}

// inspectShards describes a folder of shards: the funnel, the shards, statistics of tokens and samples.
func inspectShards(dir string) ([]Fact, error) {
	m, err := datasets.ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	facts := []Fact{{"shards", dir}, {"kind", m.Kind}, {"records read", m.Read}, {"records kept", m.Kept}}
	for _, f := range m.Formats {
		facts = append(facts, Fact{"detected", f})
	}
	facts = append(facts, tallyFacts(m.Unused, m.Notes)...)
	facts = append(facts, funnelFacts(m.Funnel)...)
	facts = append(facts, Fact{"sequences", m.Sequences}, Fact{"tokens", m.Tokens}, Fact{"fill rate", fmt.Sprintf("%.1f %%", 100*m.FillRate)},
		Fact{"sequence_length", m.SequenceLength}, Fact{"packing", m.Packing})
	var lengths, supervised []int
	perSource := map[string]int64{}
	for _, s := range slices.Concat(m.Train, m.Validation) {
		facts = append(facts, Fact{s.Path, fmt.Sprintf("%d sequences, %d tokens, %d supervised, %d row groups", s.Rows, s.Tokens, s.Supervised, len(s.RowGroups))})
		f, err := datasets.OpenShard(storage.Join(dir, s.Path))
		if err != nil {
			return nil, err
		}
		for g := range f.NumRowGroups() {
			rows, err := f.ReadRowGroup(g)
			if err != nil {
				f.Close()
				return nil, err
			}
			for i := range rows {
				r := &rows[i]
				lengths, supervised = append(lengths, len(r.InputIDs)), append(supervised, r.Supervised())
				for k, src := range r.Sources {
					end := len(r.InputIDs)
					if k+1 < len(r.DocStarts) {
						end = int(r.DocStarts[k+1])
					}
					if k < len(r.DocStarts) {
						perSource[src] += int64(end - int(r.DocStarts[k]))
					}
				}
			}
		}
		f.Close()
	}
	facts = append(facts, Fact{"tokens a sequence", quantiles(lengths)}, Fact{"supervised tokens a sequence", quantiles(supervised)})
	for _, k := range sortedKeys(perSource) {
		facts = append(facts, Fact{"tokens of " + k, perSource[k]})
	}
	return facts, nil
}

// quantiles shows the least, quarters and greatest of values.
func quantiles(v []int) string {
	if len(v) == 0 {
		return "none"
	}
	slices.Sort(v)
	at := func(q float64) int { return v[int(q*float64(len(v)-1))] }
	return fmt.Sprintf("least %d, quarter %d, median %d, three quarters %d, most %d", at(0), at(.25), at(.5), at(.75), at(1))
}

// rejectSamples shows the first dead letters of a folder, at most n of each reason.
func rejectSamples(dir string, n int) ([]Fact, error) {
	files, err := storage.Glob(storage.Join(dir, "*.jsonl.zst"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []Fact
	seen := map[string]int{}
	for _, f := range files {
		err := datasets.ReadRejects(f, func(r *datasets.Reject) bool {
			reason := strings.TrimPrefix(r.Rule+"."+r.Reason, ".")
			if seen[reason]++; seen[reason] <= n {
				out = append(out, Fact{reason, fmt.Sprintf("%s, value %s, wanted %s: %s", datasets.DocID(r.Source, r.Index), r.Value, r.Threshold, oneLine(string(r.Record)))})
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(out, func(a, b Fact) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
