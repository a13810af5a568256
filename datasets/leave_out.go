package datasets

import (
	"regexp"
	"slices"
)

// Without is a sequence without the pieces of the documents named. Where documents were not kept apart none is left, since what is learnt
// of one stands on the others.
func (s *Sequence) Without(ids []string) Sequence {
	if !slices.ContainsFunc(s.DocIDs, func(id string) bool { return slices.Contains(ids, id) }) {
		return *s
	}
	if len(s.DocStarts) != len(s.DocIDs) {
		return Sequence{Key: s.Key}
	}
	return s.Pick(func(i int) bool { return !slices.Contains(ids, s.DocIDs[i]) })
}

// contentName ends the name of a shard that is named by its content.
var contentName = regexp.MustCompile(`-[0-9a-f]{12}\.parquet$`)

// LeaveOut writes a shard without the documents named beside the one at path, which stays, and describes it; its path is whole, and named
// by content. Where the shard has none of them nothing is written, and the description is nil; where it has nothing else, Rows is 0.
func LeaveOut(path string, ids []string) (*ShardInfo, error) {
	s, err := OpenShard(path)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if has, err := s.hasAny(ids); err != nil || !has {
		return nil, err
	}
	w, err := CreateShard(contentName.ReplaceAllString(path, ".parquet"), s.Meta())
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	w.NameByContent = true
	rows := 0
	if err := s.Each(func(q *Sequence) error {
		rest := q.Without(ids)
		if len(rest.InputIDs) == 0 {
			return nil
		}
		rows++
		return w.Write(&rest)
	}); err != nil {
		return nil, err
	}
	if rows == 0 {
		return &ShardInfo{Path: path}, nil
	}
	info, err := w.Close()
	return &info, err
}

// hasAny says whether a row has a piece of one of the documents.
func (s *Shard) hasAny(ids []string) (has bool, err error) {
	err = s.Each(func(q *Sequence) error {
		has = has || slices.ContainsFunc(q.DocIDs, func(id string) bool { return slices.Contains(ids, id) })
		return nil
	})
	return has, err
}

// LeaveOutRejects takes what was read of the documents named out of a file of dead letters, in its place: the letters stay, with their
// reasons, so that what was counted is still true.
func LeaveOutRejects(path string, ids []string) error {
	w := NewRejectWriter(path)
	defer w.Abort()
	hit := false
	var fault error
	err := ReadRejects(path, func(r *Reject) bool {
		if (r.Record != nil || r.Value != "") && slices.Contains(ids, DocID(r.Source, r.Index)) {
			r.Record, r.Value, hit = nil, "", true
		}
		fault = w.Write(r)
		return fault == nil
	})
	if err == nil {
		err = fault
	}
	if err != nil || !hit {
		return err
	}
	_, err = w.Close()
	return err
}
