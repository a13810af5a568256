package measure

import (
	"reflect"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/train"
)

// TestQuestions: whole documents with a prompt and an answer, the last one of a conversation; not what was cut, split or is plain.
func TestQuestions(t *testing.T) {
	n := int32(datasets.NoLoss)
	data := train.Sequences{
		{InputIDs: []int32{1, 2, 3, 4, 5, 6, 7, 8, 9}, Labels: []int32{n, n, 3, 4, n, n, 7, 8, n}, DocStarts: []int32{0, 5},
			DocIDs: []string{"a", "b"}},
		{InputIDs: []int32{1, 2, 3, 4, 5, 6}, Labels: []int32{n, 2, n, n, 5, 6}, DocStarts: []int32{0, 2},
			DocIDs: []string{"plain", "split"}},
		{InputIDs: []int32{7, 8, 9}, Labels: []int32{n, n, 9}, DocStarts: []int32{0}, DocIDs: []string{"split"}},
		{InputIDs: []int32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, Labels: []int32{n, n, n, n, n, n, n, n, 9, 10}, DocStarts: []int32{0},
			DocIDs: []string{"cut"}},
		{InputIDs: []int32{1, 2, 3, 4, 5, 6}, Labels: []int32{n, n, 3, n, n, 6}, DocStarts: []int32{0}, DocIDs: []string{"turns"}},
	}
	// The prompt of b is one token, which a plain text has too.
	want := []question{{[]int32{1, 2}, []int32{3, 4}}, {[]int32{1, 2, 3, 4, 5}, []int32{6}}}
	got, err := questions(data, 0, 10, nil)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %v", got, err)
	}
	if got, err = questions(data, 1, 10, nil); err != nil || !reflect.DeepEqual(got, want[:1]) {
		t.Errorf("%v %v", got, err)
	}
}
