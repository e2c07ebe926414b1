package dispatcher

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/yizhan-dev/yizhan/dispatcher/ledger"
	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

// Few metrics with bounded labels: channels are configured, states and classes are closed sets.
var (
	eventsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_events_total", Help: "Events taken from the stream, by result: planned, duplicate, dead.",
	}, []string{"result"})
	statesTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_delivery_states_total", Help: "Changes of a delivery's state.",
	}, []string{"channel", "state"})
	ruleHitsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_rule_hits_total", Help: "What the rules found, by rule and action: block, review, hold.",
	}, []string{"rule", "action"})
	lacksTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_attachments_missing_total", Help: "Files that messages went without, by reason: not-found, unreachable, too-large…",
	}, []string{"channel", "reason"})
	attemptsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_attempts_total", Help: "Calls to third parties, by class of the outcome (ok when accepted).",
	}, []string{"channel", "class"})
	unexplainedTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_unexplained_total", Help: "Failed attempts whose reply no row of the diagnoses knows, by kind of channel and by the class that the reply's family gave.",
	}, []string{"kind", "class"})
	attemptSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "yizhan_attempt_seconds", Help: "How long calls to third parties took.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"channel"})
	latencySeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "yizhan_first_attempt_seconds", Help: "From planning to the start of the first attempt.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 15, 60, 300, 1800},
	}, []string{"channel", "priority"})
	repeatsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_repeats_total", Help: "Messages found to have been sent twice, after a kill.",
	}, []string{"channel"})
	reportsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_receipts_total",
		Help: "What third parties reported, by what became of it: delivered, undelivered, accepted, note; duplicate, late, unknown, unexpected, unreadable; opt-out, reply.",
	}, []string{"channel", "result"})
	missedTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_receipts_missed_total", Help: "Questions about accepted messages whose receipt did not come, by the delivery's state after it.",
	}, []string{"channel", "state"})
	redeliveredTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_redelivered_total", Help: "Attempts with a copy that another worker had before and may have sent.",
	}, []string{"channel"})
	waitsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_waits_total", Help: "Deliveries that had to wait instead of being sent, by reason: rate, budget, busy, breaker-open, limit-unavailable.",
	}, []string{"channel", "reason"})
	joinedTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yizhan_joined_total", Help: "Deliveries that were sent together with others in one call.",
	}, []string{"channel"})
	openGauge = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "yizhan_breaker_open", Help: "Destinations (or the channel as a whole) that this process makes no calls to, since they fail.",
	}, []string{"channel"})
	slowGauge = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "yizhan_slow_attempts", Help: "Attempts that take longer than a second and wait beside the slots.",
	})
	backlogGauge = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "yizhan_backlog", Help: "Deliveries that wait, scheduled ones included.",
	})
	waitingGauge = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "yizhan_events_waiting", Help: "Events that are stored and not planned yet.",
	})
	straysGauge = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "yizhan_strays", Help: "Deliveries that wait for a channel which is not configured any more.",
	}, []string{"channel"})
	skewGauge = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "yizhan_clock_skew_seconds", Help: "How far the broker's clock is ahead of this one.",
	})
	leftoversTotal = promauto.NewCounter(prometheus.CounterOpts{
		Name: "yizhan_leftovers_total", Help: "Messages left behind in DELIVERIES by a killed broker and cleared.",
	})
)

// countState counts a change of state and what the rules found for it.
func countState(channel string, r *ledger.Record) {
	statesTotal.WithLabelValues(channel, string(r.State)).Inc()
	if r.Cause != nil && r.Cause.Kind == "dispatcher" {
		countHits(r.Cause.Hits)
	}
	countHits(r.Review)
	for _, why := range lacks(r.Attachments) {
		lacksTotal.WithLabelValues(channel, why).Inc()
	}
}

// countHits counts by the names of package rules: what a rule of somebody else calls itself is "other".
func countHits(hits []schemas.Hit) {
	for _, h := range hits {
		rule, action := "other", "other"
		if slices.ContainsFunc(rules.Rules(), func(r rules.Rule) bool { return r.ID == h.Rule }) {
			rule = h.Rule
		}
		if h.Action == rules.ReportBlock || h.Action == rules.ReportReview || h.Action == rules.ReportHold {
			action = h.Action
		}
		ruleHitsTotal.WithLabelValues(rule, action).Inc()
	}
}
