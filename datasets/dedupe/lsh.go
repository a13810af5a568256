package dedupe

import (
	"cmp"
	"slices"
)

// ID names a document: its file's number and its position there. IDs order by file, then position.
type ID struct{ File, Doc uint32 }

// Compare orders IDs.
func (a ID) Compare(b ID) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Doc, b.Doc)) }

// Signed is a document's band in one bucket.
type Signed struct {
	Band []uint64
	ID   ID
}

// Pair links two documents that share a band.
type Pair struct{ A, B ID }

// Pairs links the documents of one bucket whose bands are equal: each to the one before it by ID, not all with all. It sorts docs.
func Pairs(docs []Signed) []Pair {
	slices.SortFunc(docs, func(x, y Signed) int { return cmp.Or(slices.Compare(x.Band, y.Band), x.ID.Compare(y.ID)) })
	var out []Pair
	for i := 1; i < len(docs); i++ {
		if slices.Equal(docs[i-1].Band, docs[i].Band) {
			out = append(out, Pair{docs[i-1].ID, docs[i].ID})
		}
	}
	return out
}

// Cluster is a set of documents linked by pairs, of which one is kept.
type Cluster struct {
	Kept ID
	IDs  []ID // sorted, Kept among them
}

// Clusters unites pairs as datatrove does: by size, ties keeping the root of the first. The document kept is the root, so it depends on the
// order of the pairs, which is that of the buckets. Clusters are sorted by their first document.
func Clusters(pairs []Pair) []Cluster {
	parent, size := map[ID]ID{}, map[ID]int{}
	find := func(x ID) ID {
		root := x
		for {
			p, ok := parent[root]
			if !ok {
				parent[root], size[root] = root, 1
				break
			}
			if p == root {
				break
			}
			root = p
		}
		for x != root {
			x, parent[x] = parent[x], root
		}
		return root
	}
	for _, p := range pairs {
		a, b := find(p.A), find(p.B)
		if a == b {
			continue
		}
		if size[a] < size[b] {
			a, b = b, a
		}
		parent[b] = a
		size[a] += size[b]
	}
	nodes := make([]ID, 0, len(parent))
	for n := range parent {
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, ID.Compare)
	at := map[ID]int{}
	var out []Cluster
	for _, n := range nodes {
		root := find(n)
		i, ok := at[root]
		if !ok {
			i = len(out)
			at[root] = i
			out = append(out, Cluster{Kept: root})
		}
		out[i].IDs = append(out[i].IDs, n)
	}
	return out
}
