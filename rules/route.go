package rules

import (
	"errors"
	"slices"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"github.com/yizhan-dev/yizhan/schemas"
)

const (
	maxConditionNodes  = 1000   // syntax nodes in one condition
	maxConditionMemory = 10_000 // what one evaluation may build, in the machine's own units: about list elements
)

// Choice is where an event goes.
type Choice struct {
	Route    string   // name of the route; "" when the event names its channels itself
	Send     []string // channels, each of which gets every recipient it has an address for
	Fallback []string // channels used when a delivery over Send ends dead or undelivered
}

// Trial is what became of one route for one event, for explaining.
type Trial struct {
	Name    string
	Matched bool // its condition holds; the first route that matched is the one chosen
	Reason  schemas.Text
}

type routeSource struct {
	Name     str   `yaml:"name"`
	When     str   `yaml:"when"`
	Send     []str `yaml:"send"`
	Fallback []str `yaml:"fallback"`
}

type route struct {
	name           string
	when           condition
	send, fallback []string
}

// condition is a compiled expression and, for explaining, the parts that "and" joins.
type condition struct {
	source  string
	program *vm.Program // nil: always true
	parts   []condition
}

// conditionEnv is all that a condition can see. Phone numbers are not in it: no condition needs
// one, and error texts and traces repeat what conditions see.
type conditionEnv struct {
	Event conditionEvent `expr:"event"`
}

type conditionEvent struct {
	ID       string         `expr:"id"`
	Source   string         `expr:"source"`
	Type     string         `expr:"type"`
	Subject  string         `expr:"subject"`
	Tenant   string         `expr:"tenant"`
	Time     time.Time      `expr:"time"`
	Category string         `expr:"category"`
	Priority string         `expr:"priority"`
	Template string         `expr:"template"`
	Params   map[string]any `expr:"params"`
	To       []conditionTo  `expr:"to"`
}

type conditionTo struct {
	Name     string   `expr:"name"`
	Email    string   `expr:"email"`
	Webhook  string   `expr:"webhook"`
	Locale   string   `expr:"locale"`
	Tags     []string `expr:"tags"`
	HasPhone bool     `expr:"has_phone"`
	HasEmail bool     `expr:"has_email"`
}

func envOf(e *schemas.Event) conditionEnv {
	priority := e.Data.Priority
	if priority == "" {
		priority = e.Data.Category.DefaultPriority()
	}
	to := make([]conditionTo, len(e.Data.To))
	for i, r := range e.Data.To {
		to[i] = conditionTo{r.Name, r.Email, r.Webhook, r.Locale, r.Tags, r.Phone != "", r.Email != ""}
	}
	return conditionEnv{conditionEvent{
		e.ID, e.Source, e.Type, e.Subject, e.Tenant, e.Time,
		string(e.Data.Category), string(priority), e.Data.Template, e.Data.Params, to,
	}}
}

func (b *Book) addRoutes(sources []routeSource) error {
	var errs []error
	seen := make(map[string]bool)
	for i, s := range sources {
		fail := func(at spot, format string, args ...any) {
			errs = append(errs, at.errorf("routes[%d] %q: "+format, append([]any{i, s.Name.s}, args...)...))
		}
		if s.Name.s == "" {
			fail(s.Name.spot, "a route needs a name")
		}
		if seen[s.Name.s] {
			fail(s.Name.spot, "the name is used twice")
		}
		seen[s.Name.s] = true
		if len(s.Send) == 0 {
			fail(s.Name.spot, "a route needs at least one channel in send")
		}
		b.mention("routes "+s.Name.s+", send", s.Send, fail)
		b.mention("routes "+s.Name.s+", fallback", s.Fallback, fail)
		when, err := compile(s.When.s)
		if err != nil {
			fail(s.When.spot, "when: %w", err)
		}
		b.routes = append(b.routes, route{s.Name.s, when, values(s.Send), values(s.Fallback)})
	}
	return errors.Join(errs...)
}

// mention notes the channels of a list, for [Book.Check].
func (b *Book) mention(by string, list []str, fail func(at spot, format string, args ...any)) {
	for i, channel := range list {
		switch {
		case channel.s == "":
			fail(channel.spot, "an empty channel name")
		case slices.Contains(values(list[:i]), channel.s):
			fail(channel.spot, "channel %q is named twice", channel.s)
		}
		b.named = append(b.named, mention{channel.spot, channel.s, by})
	}
}

func compile(source string) (condition, error) {
	if source == "" {
		return condition{}, nil
	}
	c := condition{source: source}
	var err error
	// now is out: the same event must take the same route whenever it is planned or back-tested.
	c.program, err = expr.Compile(source, expr.Env(conditionEnv{}), expr.AsBool(), expr.MaxNodes(maxConditionNodes), expr.DisableBuiltin("now"))
	if err != nil {
		return c, err
	}
	tree, err := parser.Parse(source)
	if err != nil {
		return c, err
	}
	if nodes := conjuncts(tree.Node); len(nodes) > 1 {
		for _, n := range nodes {
			part, err := compile(n.String())
			if err != nil {
				c.parts = nil // it depends on its neighbours: explain the whole
				break
			}
			c.parts = append(c.parts, part)
		}
	}
	return c, nil
}

func conjuncts(n ast.Node) []ast.Node {
	if b, ok := n.(*ast.BinaryNode); ok && (b.Operator == "and" || b.Operator == "&&") {
		return append(conjuncts(b.Left), conjuncts(b.Right)...)
	}
	return []ast.Node{n}
}

var errNotBool = errors.New("the result is not true or false")

func (c condition) eval(env conditionEnv) (bool, error) {
	if c.program == nil {
		return true, nil
	}
	machine := vm.VM{MemoryBudget: maxConditionMemory}
	out, err := machine.Run(c.program, env)
	if err != nil {
		return false, err
	}
	yes, ok := out.(bool)
	if !ok {
		return false, errNotBool
	}
	return yes, nil
}

// falsePart is the first part of the condition that does not hold, for explaining.
func (c condition) falsePart(env conditionEnv) string {
	for _, p := range c.parts {
		if yes, err := p.eval(env); err == nil && !yes {
			return p.source
		}
	}
	return c.source
}

// Route chooses the channels of an event: those it names itself, else those of the first route
// whose condition holds; false when no route takes it. The error is a [*schemas.Invalid]: a
// condition cannot be judged on this event's values (a parameter of another type than the
// condition expects), and no retry cures that.
func (b *Book) Route(e *schemas.Event) (Choice, bool, error) {
	if len(e.Data.Channels) > 0 {
		return Choice{Send: slices.Clone(e.Data.Channels)}, true, nil
	}
	env := envOf(e)
	for _, r := range b.routes {
		yes, err := r.when.eval(env)
		if err != nil {
			return Choice{}, false, &schemas.Invalid{Problems: []schemas.Problem{{Pointer: "/data", Keyword: "route", Text: cannotJudge(r, err)}}}
		}
		if yes {
			return Choice{r.name, slices.Clone(r.send), slices.Clone(r.fallback)}, true, nil
		}
	}
	return Choice{}, false, nil
}

// Trials says of every route, in order, whether it matches the event and why not.
func (b *Book) Trials(e *schemas.Event) []Trial {
	env := envOf(e)
	chosen, stuck := "", ""
	trials := make([]Trial, 0, len(b.routes))
	for _, r := range b.routes {
		t := Trial{Name: r.name}
		yes, err := r.when.eval(env)
		switch {
		case len(e.Data.Channels) > 0:
			t.Reason = Textf("未参与判断：事件自行指定了通道", "not asked: the event names its channels itself")
		case err != nil:
			t.Reason = cannotJudge(r, err)
			if chosen == "" && stuck == "" {
				stuck = r.name
			}
		case !yes:
			t.Reason = Textf("条件不成立：%s", "does not hold: %s", r.when.falsePart(env))
		case stuck != "":
			t.Matched = true
			t.Reason = Textf("条件成立，但排在前面的路由 %q 无法判断，不会执行到此处", "holds, but is not reached: route %q before it cannot be judged", stuck)
		case chosen != "":
			t.Matched = true
			t.Reason = Textf("条件成立，但排在前面的路由 %q 已先生效", "holds, but route %q stands before it", chosen)
		default:
			t.Matched = true
			chosen = r.name
			t.Reason = Textf("条件成立，采用此路由", "holds: this route is taken")
			if r.when.program == nil {
				t.Reason = Textf("没有条件，匹配所有事件，采用此路由", "no condition, matches every event: this route is taken")
			}
		}
		trials = append(trials, t)
	}
	return trials
}

// cannotJudge tells the place in the condition, not the machine's own words: those may repeat
// values of the event.
func cannotJudge(r route, err error) schemas.Text {
	line, column := 1, 0
	if at, ok := errors.AsType[*file.Error](err); ok {
		line, column = at.Line, at.Column+1
	}
	return Textf("路由 %q 的条件无法用该事件的取值判断（第 %d 行第 %d 列，请检查参数是否存在、类型是否相符）：%s",
		"the condition of route %q cannot be judged on this event's values (line %d, column %d; is a parameter missing or of another type?): %s",
		r.name, line, column, r.when.source)
}
