package run

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/recipe"
)

// about says what the run was.
func (r *Run) about(m *report.Metrics) {
	a, rec := &m.About, r.Recipe
	a.Model, a.LearnsBy, a.Rate = rec.Model.Path, rec.Train.Objective, rec.Train.LearningRate
	a.Data = append(slices.Clone(rec.Data.Input), slices.Sorted(maps.Keys(rec.Data.Sources))...)
	a.Method, _ = rec.Method["peft_type"].(string)
	a.Rank = rank(rec)
	a.Finished, a.Command = time.Now().UTC().Format(time.RFC3339), r.Command
	if !r.opened.IsZero() {
		a.Seconds = time.Since(r.opened).Seconds()
	}
}

// rank is the method's, 0 where it names none.
func rank(rec *recipe.Recipe) int64 {
	n, _ := strconv.ParseInt(fmt.Sprint(rec.Method["r"]), 10, 64)
	return n
}

// origin says for a card what the adapter was made of, by names that say nothing of the machine.
func (r *Run) origin() (lines [][2]string) {
	name := func(ref string) string { return path.Base(filepath.ToSlash(strings.TrimPrefix(ref, "embedded:"))) }
	model := r.Recipe.Model.Path
	if filepath.IsAbs(model) {
		model = name(model)
	}
	var data []string
	for _, in := range r.Recipe.Data.Input {
		data = append(data, name(in))
	}
	data = append(data, slices.Sorted(maps.Keys(r.Recipe.Data.Sources))...)
	method, _ := r.Recipe.Method["peft_type"].(string)
	lines = [][2]string{{"model", model}, {"data", strings.Join(data, ", ")}, {"method", method}}
	if n := rank(r.Recipe); n > 0 {
		lines = append(lines, [2]string{"rank", fmt.Sprint(n)})
	}
	return lines
}
