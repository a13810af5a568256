package inspect

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/pipelines/report"
)

// inspectShards describes a folder of shards: the funnel, the shards, statistics of tokens and samples.
func inspectShards(dir string) ([]report.Fact, error) {
	m, err := datasets.ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	facts := report.Facts("shards", dir, "kind", m.Kind, "records read", m.Read, "records kept", m.Kept)
	for _, f := range m.Formats {
		facts = append(facts, report.NewFact("detected", f))
	}
	facts = append(facts, report.TallyFacts(m.Unused, m.Notes)...)
	facts = append(facts, report.FunnelFacts(m.Funnel)...)
	facts = append(facts, report.NewFact("sequences", m.Sequences), report.NewFact("tokens", m.Tokens),
		report.NewFact("fill rate", fmt.Sprintf("%.1f %%", 100*m.FillRate)),
		report.NewFact("sequence_length", m.SequenceLength), report.NewFact("packing", m.Packing))
	var lengths, supervised []int
	perSource := map[string]int64{}
	for _, s := range slices.Concat(m.Train, m.Validation) {
		facts = append(facts, report.NewFact(s.Path,
			fmt.Sprintf("%d sequences, %d tokens, %d supervised, %d row groups", s.Rows, s.Tokens, s.Supervised, len(s.RowGroups))))
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
	facts = append(facts, report.NewFact("tokens a sequence", quantiles(lengths)),
		report.NewFact("supervised tokens a sequence", quantiles(supervised)))
	for _, k := range slices.Sorted(maps.Keys(perSource)) {
		facts = append(facts, report.NewFact("tokens of "+k, perSource[k]))
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
func rejectSamples(dir string, n int) ([]report.Fact, error) {
	files, err := storage.Glob(storage.Join(dir, "*.jsonl.zst"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []report.Fact
	seen := map[string]int{}
	for _, f := range files {
		err := datasets.ReadRejects(f, func(r *datasets.Reject) bool {
			reason := strings.TrimPrefix(r.Rule+"."+r.Reason, ".")
			if seen[reason]++; seen[reason] <= n {
				what := datasets.DocID(r.Source, r.Index)
				if r.Value != "" {
					what += ", value " + r.Value
				}
				if r.Threshold != "" {
					what += ", wanted " + r.Threshold
				}
				out = append(out, report.NewFact(reason, what+": "+report.OneLine(string(r.Record))))
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(out, func(a, b report.Fact) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
