package score

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/yizhan-dev/yizhan/schemas"
)

// The file, all numbers little-endian:
//
//	magic "yzscore" and the version, one byte
//	bucket bits, number of rules   one byte each
//	scale, bias, threshold         float32 each, for each rule
//	weights                        int8, for each bucket and in it each rule
//	CRC-32C of all before          uint32
const (
	magic       = "yzscore"
	fileVersion = 1

	headSize = len(magic) + 3
	ruleSize = 3 * 4
	sumSize  = 4
	fileSize = headSize + ruleCount*ruleSize + buckets*ruleCount + sumSize
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Error says what is wrong with a model or a line to learn from, in both languages.
type Error struct {
	schemas.Text
}

func (e *Error) Error() string { return e.Zh + " / " + e.En }

func wrong(zh, en string) error { return &Error{schemas.Text{Zh: zh, En: en}} }

// Encode is the model as a file.
func (m *Model) Encode() []byte {
	b := make([]byte, 0, fileSize)
	b = append(b, magic...)
	b = append(b, fileVersion, bucketBits, byte(ruleCount))
	for r := range ruleCount {
		for _, f := range []float32{m.scale[r], m.bias[r], m.threshold[r]} {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
		}
	}
	for i := range m.weights {
		for _, w := range m.weights[i] {
			b = append(b, byte(w)) //nolint:gosec // the bits of an int8
		}
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Load reads a model from its file. It allocates no more than a model takes, whatever the file says.
func Load(b []byte) (*Model, error) {
	switch {
	case len(b) < headSize || !bytes.HasPrefix(b, []byte(magic)):
		return nil, wrong("不是评分模型文件（应由 yizhan rules train 生成）", "not a model of yizhan rules train")
	case b[len(magic)] != fileVersion:
		return nil, wrong(fmt.Sprintf("模型文件版本为 %d，本程序只能读取版本 %d；请重新训练", b[len(magic)], fileVersion),
			fmt.Sprintf("the model has version %d, this program reads version %d; train it again", b[len(magic)], fileVersion))
	case b[len(magic)+1] != bucketBits || int(b[len(magic)+2]) != ruleCount:
		return nil, wrong("模型的规则数或特征数与本程序不符；请重新训练", "the model has other rules or features than this program; train it again")
	case len(b) != fileSize:
		return nil, wrong(fmt.Sprintf("模型文件应为 %d 字节，实为 %d 字节：文件不完整", fileSize, len(b)), fmt.Sprintf("the model has %d bytes, want %d: it is not whole", len(b), fileSize))
	}
	body := b[:fileSize-sumSize]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[len(body):]) {
		return nil, wrong("模型文件校验和不符：文件已损坏", "the checksum of the model does not fit: the file is damaged")
	}
	m := &Model{weights: make([]weights, buckets)}
	at := headSize
	for r := range ruleCount {
		for _, f := range []*float32{&m.scale[r], &m.bias[r], &m.threshold[r]} {
			*f = math.Float32frombits(binary.LittleEndian.Uint32(body[at:]))
			at += 4
			if v := float64(*f); math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, wrong("规则 "+Rules[r]+" 的参数不是有限数", "a number of rule "+Rules[r]+" is not finite")
			}
		}
		if m.scale[r] < 0 {
			return nil, wrong("规则 "+Rules[r]+" 的比例为负数", "the scale of rule "+Rules[r]+" is negative")
		}
	}
	for i := range m.weights {
		for r := range ruleCount {
			m.weights[i][r] = int8(body[at]) //nolint:gosec // the bits of an int8
			at++
		}
	}
	return m, nil
}
