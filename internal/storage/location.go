package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// LocationName is the name of the object that says by which schema a location is laid out.
const LocationName = "location.json"

// LocationSchema is the schema of locations that this program writes: how objects are named and what they hold. It grows with a change
// that an older program would misread, together with a row of migrations.
const LocationSchema = 1

// Location is what location.json holds.
type Location struct {
	Schema    int    `json:"schema"`
	CreatedBy string `json:"created_by"` // program and version, for people
}

// migration brings a location of schema From to From+1. It may be run again over what an earlier try has left.
type migration struct {
	From int
	Do   func(ctx context.Context, root string) error
}

// migrations are the migrations that there are, by From.
var migrations []migration

// migrating is how long a program that migrates may be silent before another one goes on.
const migrating = time.Minute

// OpenLocation makes root a location, or looks whether this program knows how the one that is there is laid out: an older one is migrated
// where there is a way and refused where there is none, a newer one is refused. createdBy names the program and its version.
func OpenLocation(ctx context.Context, root, createdBy string) (Location, error) {
	return openLocation(ctx, root, Location{LocationSchema, createdBy}, migrations)
}

func openLocation(ctx context.Context, root string, mine Location, steps []migration) (Location, error) {
	uri := Join(root, LocationName)
	there, version, err := makeLocation(ctx, uri, mine)
	if err != nil || there.Schema == mine.Schema {
		return there, err
	}
	if there.Schema > mine.Schema {
		return there, fmt.Errorf("%s: the location has schema %d, of %s, and this program knows up to %d: use that version or a newer "+
			"one, or choose another location", uri, there.Schema, there.CreatedBy, mine.Schema)
	}
	way := map[int]migration{}
	for _, m := range steps {
		way[m.From] = m
	}
	for s := there.Schema; s < mine.Schema; s++ {
		if _, ok := way[s]; !ok {
			return there, fmt.Errorf("%s: the location has schema %d, of %s, and this program has %d and no way from there: finish "+
				"what is in it by that version, or choose another location", uri, there.Schema, there.CreatedBy, mine.Schema)
		}
	}
	lease, err := Hold(ctx, Join(root, "migration"+LeaseExt), mine.CreatedBy, migrating)
	if err != nil {
		return there, err
	}
	defer lease.Release(context.WithoutCancel(ctx))
	for there.Schema < mine.Schema {
		if err := way[there.Schema].Do(lease.Context(), root); err != nil {
			return there, fmt.Errorf("%s: migrating it from schema %d: %w", uri, there.Schema, err)
		}
		if err := lease.Err(); err != nil {
			return there, err
		}
		there.Schema++
		raw, err := there.marshal()
		if err != nil {
			return there, err
		}
		if version, err = Swap(ctx, uri, version, raw); err != nil {
			return there, err
		}
	}
	return there, nil
}

func (l Location) marshal() ([]byte, error) {
	raw, err := json.MarshalIndent(l, "", " ")
	return append(raw, '\n'), err
}

// makeLocation writes location.json where there is none, and returns what is there.
func makeLocation(ctx context.Context, uri string, mine Location) (there Location, version Version, err error) {
	raw, err := mine.marshal()
	if err != nil {
		return there, Absent, err
	}
	version, err = PutIfAbsent(ctx, uri, bytes.NewReader(raw))
	if err == nil { // a new location: does its store keep what it promises?
		_, err := PutIfAbsent(ctx, uri, bytes.NewReader(raw[:len(raw)-1]))
		if err == nil {
			return mine, version, fmt.Errorf("%s: the server overwrites an object although If-None-Match forbids it, so that workers "+
				"cannot agree there: choose another location or a newer server", uri)
		}
		if !errors.Is(err, ErrExists) {
			return mine, version, err
		}
		return mine, version, nil
	}
	if !errors.Is(err, ErrExists) {
		return there, Absent, err
	}
	text, info, err := Fetch(ctx, uri, KindNote)
	if err != nil {
		return there, Absent, err
	}
	if err := Unmarshal(text, &there); err != nil || there.Schema < 1 {
		return there, Absent, fmt.Errorf("%s: it does not say the location's schema (%v): choose another location", uri, err)
	}
	return there, info.Version, nil
}
