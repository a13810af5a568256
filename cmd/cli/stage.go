package cli

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/adaptflow/adaptflow/pipelines/run"
)

// stageLines is how often a stage that lasts has a line, where no terminal shows it move.
const stageLines = 10 * time.Second

// stages shows preparing and scoring: a line that moves on a terminal, a line each so many seconds elsewhere.
func stages() func(run.Stage) {
	if forPeople() {
		var bar *progressbar.ProgressBar
		return func(s run.Stage) {
			if s.Ended {
				if bar != nil {
					_ = bar.Clear()
				}
				bar = nil
				return
			}
			if bar == nil {
				bar = progressbar.NewOptions(-1, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSpinnerType(14),
					progressbar.OptionSetElapsedTime(false))
			}
			bar.Describe(stageText(s))
			_ = bar.Add(1)
		}
	}
	last := time.Duration(0)
	return func(s run.Stage) {
		switch {
		case s.Ended:
			last = 0
		case s.Taken >= last+stageLines:
			last = s.Taken
			if structured == nil {
				say("%s", stageText(s))
				return
			}
			fields := []any{"stage", s.Name, "seconds", s.Taken.Seconds()}
			for _, k := range slices.Sorted(maps.Keys(s.Counts)) {
				fields = append(fields, strings.ReplaceAll(k, " ", "_"), s.Counts[k])
			}
			structured.Info("stage", fields...)
		}
	}
}

// stageText is a stage in a line, as "preparing input: 512 records read, 90112 tokens, 12 s".
func stageText(s run.Stage) string {
	text := s.Name + ":"
	for _, k := range slices.Sorted(maps.Keys(s.Counts)) {
		text += fmt.Sprintf(" %d %s,", s.Counts[k], k)
	}
	return text + fmt.Sprintf(" %.0f s", s.Taken.Seconds())
}
