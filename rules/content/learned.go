package content

import (
	"fmt"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/rules/content/score"
)

// learned is a model as a [Scorer]. The rules of models stand in the order of ours.
type learned struct{ model *score.Model }

// Score implements [Scorer].
func (l learned) Score(text string) (Rule, float64) {
	r, margin := l.model.Score(text)
	return Rule(r), margin //nolint:gosec // an index of score.Rules
}

// readScore reads the model of the section; nil without one.
func readScore(name string, env rules.Env) (Scorer, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // no scorer is one of the answers
	}
	b, err := env.Read(name)
	if err != nil {
		return nil, fmt.Errorf("score %s: %w", name, err)
	}
	m, err := score.Load(b)
	if err != nil {
		return nil, fmt.Errorf("score %s: %w", name, err)
	}
	return learned{m}, nil
}

// scored is the judge with a scorer. It is another one, since the judge of the program's lexicons is shared.
func (j *Judge) scored(s Scorer) *Judge {
	if s == nil {
		return j
	}
	with := *j
	with.scorer = s
	return &with
}
