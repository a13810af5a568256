package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Late replicas. With drop_late_after a replica that has not done its share so many seconds after it began gives up and is not a part of
// the round; what it keeps (its inner optimiser, what compression lost) stays as its last round left it. At least min_replicas must
// contribute, else the round fails and is tried again. Who contributed is decided once a round, in a file that is never written again, and
// stands in the log of the run: with the same list the round gives the same bytes, whatever the clock says.

const contributorsFile = "contributors.json"

var errLate = errors.New("late")

// contributors says who contributes to the round that starts at step, where that is decided: by the job's list, or by an attempt before.
func (s *Session) contributors(step int) (who []int, decided bool, err error) {
	if s.job.Contributors != nil {
		who, decided = s.job.Contributors[step+s.job.RoundSteps(step, s.trainer.Total)]
		if !decided {
			for r := range s.job.Args.Replicas {
				who = append(who, r)
			}
		}
		return who, true, nil
	}
	if s.job.Args.DropLateAfter == 0 {
		return nil, false, nil
	}
	path := s.shared(filepath.Join(roundPath(step), contributorsFile))
	raw, err := storage.ReadSmall(path, storage.KindState)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	refs, err := parseRefs(path, raw)
	for _, r := range refs {
		who = append(who, r.Replica)
	}
	return who, true, err
}

func parseRefs(path string, raw []byte) (refs []Ref, err error) {
	if err = json.Unmarshal(raw, &refs); err != nil {
		err = fmt.Errorf("%s is damaged (%w): delete it, and who contributes to the round is decided again", path, err)
	}
	return refs, err
}

// decide returns the references of those who contribute to the round, in replica order.
func (s *Session) decide(step int, refs []Ref) ([]Ref, error) {
	a := &s.job.Args
	refs = slices.DeleteFunc(slices.Clone(refs), func(r Ref) bool { return r.Late })
	slices.SortFunc(refs, func(x, y Ref) int { return x.Replica - y.Replica })
	for i, r := range refs {
		if r.Replica < 0 || r.Replica >= a.Replicas || i > 0 && refs[i-1].Replica == r.Replica {
			return nil, fmt.Errorf("round %d: replica %d of %d wrote twice, or does not exist", step, r.Replica, a.Replicas)
		}
	}
	least := a.Replicas
	if a.DropLateAfter > 0 || s.job.Contributors != nil {
		least = max(1, a.MinReplicas)
	}
	if len(refs) < least {
		return nil, fmt.Errorf("round %d: %d of %d replicas wrote their part, and %d must", step, len(refs), a.Replicas, least)
	}
	if len(refs) < a.Replicas && a.Order != OrderWrapped && !slices.ContainsFunc(refs, func(r Ref) bool { return !r.Silent }) {
		return nil, fmt.Errorf("round %d: no token of the replicas that were not late had a loss: raise drop_late_after or min_replicas",
			step)
	}
	if a.DropLateAfter == 0 || s.job.Contributors != nil {
		return refs, nil
	}
	raw, err := json.Marshal(refs)
	if err != nil {
		return nil, err
	}
	path := s.shared(filepath.Join(roundPath(step), contributorsFile))
	if raw, err = storage.WriteOnce(path, raw); err != nil {
		return nil, err
	}
	return parseRefs(path, raw)
}

// ReadContributors reads from a checkpoint's trainer_state.json who contributed to each round, by the step at which the round ended: the
// list that [Job].Contributors takes, to repeat a run.
func ReadContributors(path string) (map[int][]int, error) {
	st, err := readStateFile(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	out := map[int][]int{}
	for _, i := range st.History {
		if i.Contributors != nil {
			out[i.Step] = i.Contributors
		}
	}
	return out, nil
}
