package score

import (
	"context"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

const (
	// folds: each example is judged by a model that has not seen it, learned from the other folds.
	folds  = 5
	epochs = 8
	rate   = 0.3  // of AdaGrad
	decay  = 1e-4 // L2
	// sure is an error so small that nothing is learned from it; most are, and cost no time.
	sure = 0.01
	// minExamples: a rule with fewer is not learned; chance would choose its threshold.
	minExamples = 10
	// tick is how many examples are learned from between two signs of life.
	tick = 500
)

// Options say how to learn.
type Options struct {
	Seed uint64 // of the order of the examples; the same seed and examples give the same model
	// FalsePositives is the share of clean messages that may be sent to review, all rules together.
	FalsePositives float64
	// Progress is told how much of the work is done; nil for nobody. It is not called twice at a time.
	Progress func(done, total int)
}

// Report is how the model does with messages that it did not learn from.
type Report struct {
	Clean    int          `json:"clean"`    // clean messages
	Reviewed int          `json:"reviewed"` // of these, sent to review
	Rules    []RuleReport `json:"rules"`
}

// RuleReport is what became of one rule.
type RuleReport struct {
	Rule     string `json:"rule"`
	Examples int    `json:"examples"`
	Learned  bool   `json:"learned"`  // false: too few examples
	Caught   int    `json:"caught"`   // of the examples, over the threshold
	Accused  int    `json:"accused"`  // of all messages, over the threshold
	Reviewed int    `json:"reviewed"` // of the clean messages, over the threshold
}

// Recall is the share of the rule's examples that are over the threshold.
func (r *RuleReport) Recall() float64 { return ratio(r.Caught, r.Examples) }

// Precision is the share of the messages over the threshold that break the rule.
func (r *RuleReport) Precision() float64 { return ratio(r.Caught, r.Accused) }

func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// Train learns from the examples. Thresholds are chosen, and the report is made, from scores that each example got
// from a model which had not seen it.
func Train(ctx context.Context, examples []Example, o Options) (*Model, *Report, error) {
	t := &trainer{examples: examples, options: o, fold: make([]int, len(examples))}
	for i := range examples {
		h := fnv.New64a()
		_, _ = h.Write([]byte(examples[i].Text)) // never fails
		t.fold[i] = int(h.Sum64() >> 32 % folds)
		if examples[i].clean() {
			t.clean++
		}
		for _, r := range examples[i].Rules {
			t.count[r]++
		}
	}
	if t.clean == 0 {
		return nil, nil, wrong("没有合规消息（rules 为 []），无法确定阈值", "there are no clean messages (rules is []) to choose thresholds by")
	}
	if slices.Max(t.count[:]) < minExamples {
		return nil, nil, wrong("每条规则至少需要 10 条样例", "a rule needs at least 10 examples")
	}
	t.total = epochs * folds * len(examples) // each fold learns from the others, the model from all
	var models [folds + 1]*Model
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for k := range models {
		g.Go(func() (err error) {
			models[k], err = t.learn(ctx, k)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	t.score(models[:folds])
	m := models[folds]
	return m, t.calibrate(m), nil
}

// trainer is one training.
type trainer struct {
	examples []Example
	fold     []int // of each example
	options  Options
	clean    int
	count    [ruleCount]int // examples of each rule
	logits   [][ruleCount]float32

	mu          sync.Mutex
	done, total int
}

func (t *trainer) step(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done += n; t.options.Progress != nil {
		t.options.Progress(t.done, t.total)
	}
}

// row is what is learned for one bucket, and the squares of the gradients so far.
type row struct{ weight, square [ruleCount]float32 }

// learn makes a model from all examples outside a fold.
func (t *trainer) learn(ctx context.Context, fold int) (*Model, error) {
	var order []int
	for i := range t.examples {
		if t.fold[i] != fold {
			order = append(order, i)
		}
	}
	random := rand.New(rand.NewPCG(t.options.Seed, uint64(fold))) //nolint:gosec // no secret, and fold is small
	rows := make([]row, buckets)
	var bias row
	var found []uint32
	for range epochs {
		random.Shuffle(len(order), func(a, b int) { order[a], order[b] = order[b], order[a] })
		for n, i := range order {
			if n%tick == 0 {
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				t.step(min(tick, len(order)-n))
			}
			found = t.examples[i].learn(rows, &bias, found[:0])
		}
	}
	return quantise(rows, &bias), nil
}

// learn moves the weights by one example.
func (e *Example) learn(rows []row, bias *row, found []uint32) []uint32 {
	var f features
	for f.reset(e.Text); f.next(); {
		found = append(found, f.found()...)
	}
	if f.runes < minRunes {
		return found
	}
	x := 1 / float32(math.Sqrt(float64(len(found))))
	var sums [ruleCount]float32
	for _, b := range found {
		for r, w := range &rows[b].weight {
			sums[r] += w
		}
	}
	for r := range sums {
		miss := float32(1 / (1 + math.Exp(-float64(sums[r]*x+bias.weight[r]))))
		if slices.Contains(e.Rules, r) {
			miss--
		}
		if miss < sure && miss > -sure {
			continue
		}
		for _, b := range found {
			rows[b].move(r, miss*x)
		}
		bias.move(r, miss)
	}
	return found
}

// move is a step of AdaGrad against the gradient.
func (w *row) move(r int, gradient float32) {
	gradient += decay * w.weight[r]
	w.square[r] += gradient * gradient
	w.weight[r] -= rate * gradient / float32(math.Sqrt(float64(w.square[r])+1e-8))
}

// quantise rounds the weights of each rule to 8 bits.
func quantise(rows []row, bias *row) *Model {
	m := &Model{weights: make([]weights, buckets), bias: bias.weight}
	for r := range ruleCount {
		var most float32
		for i := range rows {
			most = max(most, rows[i].weight[r], -rows[i].weight[r])
		}
		if most == 0 {
			continue
		}
		m.scale[r] = most / math.MaxInt8
		for i := range rows {
			m.weights[i][r] = int8(math.Round(float64(rows[i].weight[r] / m.scale[r])))
		}
	}
	return m
}

// score gives each example to the model that has not seen it.
func (t *trainer) score(models []*Model) {
	t.logits = make([][ruleCount]float32, len(t.examples))
	for i := range t.examples {
		logits, ok := models[t.fold[i]].logits(t.examples[i].Text)
		if !ok {
			for r := range logits {
				logits[r] = -math.MaxFloat32
			}
		}
		t.logits[i] = logits
	}
}
