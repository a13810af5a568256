package report

import (
	"encoding/binary"
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/adaptflow/adaptflow/train"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is the checksum of TFRecord: CRC-32C, rotated and shifted.
func masked(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

func tfRecord(dst, event []byte) []byte {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(len(event)))
	dst = append(dst, n[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, masked(n[:]))
	dst = append(dst, event...)
	return binary.LittleEndian.AppendUint32(dst, masked(event))
}

// event encodes a tensorflow.Event: wall time (1), step (2), and a file version (3) or a summary (5) of one scalar value.
func event(wall float64, step int, version, tag string, value float64) []byte {
	b := protowire.AppendTag(nil, 1, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, math.Float64bits(wall))
	if version != "" {
		b = protowire.AppendTag(b, 3, protowire.BytesType)
		return protowire.AppendString(b, version)
	}
	b = protowire.AppendTag(b, 2, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(step))
	v := protowire.AppendTag(nil, 1, protowire.BytesType)
	v = protowire.AppendString(v, tag)
	v = protowire.AppendTag(v, 2, protowire.Fixed32Type)
	v = protowire.AppendFixed32(v, math.Float32bits(float32(value)))
	s := protowire.AppendTag(nil, 1, protowire.BytesType)
	s = protowire.AppendBytes(s, v)
	b = protowire.AppendTag(b, 5, protowire.BytesType)
	return protowire.AppendBytes(b, s)
}

// EventsPrefix begins the name of TensorBoard's file.
const EventsPrefix = "events.out.tfevents."

// Events is a TensorBoard event file of the run's curves, with the tags of Hugging Face Trainer.
func Events(m *Metrics, st *train.State) []byte {
	wall := float64(time.Now().UnixNano())/1e9 - m.Train.Seconds
	out := tfRecord(nil, event(wall, 0, "brain.Event:2", "", 0))
	evals := st.Evals
	for _, s := range st.History {
		wall += s.Seconds
		out = tfRecord(out, event(wall, s.Step, "", "train/loss", s.Loss))
		out = tfRecord(out, event(wall, s.Step, "", "train/learning_rate", s.LearningRate))
		out = tfRecord(out, event(wall, s.Step, "", "train/grad_norm", s.GradNorm))
		for _, name := range slices.Sorted(maps.Keys(s.Metrics)) {
			out = tfRecord(out, event(wall, s.Step, "", "train/"+name, s.Metrics[name]))
		}
		for len(evals) > 0 && evals[0].Step <= s.Step {
			out = tfRecord(out, event(wall, evals[0].Step, "", "eval/loss", evals[0].Loss))
			evals = evals[1:]
		}
	}
	return out
}
