package content

import "sync"

// Action is what a finding asks for, weakest first.
type Action uint8

// The actions.
const (
	ActionPass   Action = iota
	ActionReview        // a person should look; it goes out all the same
	ActionBlock
)

// String is the action's name in verdicts.
func (a Action) String() string { return [...]string{"pass", "review", "block"}[a] }

// Class is the kind of business message. It comes from the template or the type of the event, never from
// the text.
type Class string

// The classes; "" is not known.
const (
	ClassUnknown         Class = ""
	ClassVerification    Class = "verification"
	ClassInvoice         Class = "invoice"
	ClassApproval        Class = "approval"
	ClassLogistics       Class = "logistics"
	ClassInventory       Class = "inventory"
	ClassFinanceVoucher  Class = "finance_voucher"
	ClassPaymentReminder Class = "payment_reminder"
	ClassPayroll         Class = "payroll"
	ClassHR              Class = "hr"
	ClassITAlert         Class = "it_alert"
	ClassMaintenance     Class = "maintenance"
	ClassCustomerService Class = "customer_service"
	ClassMarketingOptIn  Class = "marketing_optin"
	ClassMarketingBlind  Class = "marketing_blind"
)

// Classes are all classes but the unknown one.
var Classes = []Class{
	ClassVerification, ClassInvoice, ClassApproval, ClassLogistics, ClassInventory, ClassFinanceVoucher, ClassPaymentReminder,
	ClassPayroll, ClassHR, ClassITAlert, ClassMaintenance, ClassCustomerService, ClassMarketingOptIn, ClassMarketingBlind,
}

// What points mean.
const (
	blockAt  = 100 // points of different terms close together
	reviewAt = 60
	// marketingAt is what the language of promotion alone must come to.
	marketingAt = 70
	// cueCap is the most that the words around a topic add; they may take away without bound.
	cueCap = 60
	// beyondCap: of what the terms of a topic weigh together beyond its cap, one part in so many counts.
	beyondCap = 6
	// window is how far terms may be apart to count together, in characters that folding keeps.
	window = 200
	// A disguise is evidence of its own, once for each rule, where the term weighs something.
	disguisePoints  = 40
	disguiseMinimum = 30
	// transactionalShift is how much more it takes in messages about business that happened.
	transactionalShift = 40
)

// topicCap bounds what the terms of a topic that each weigh less than blockAt come to together: news and
// talk about a topic name it often. Where the words themselves are the offence there is no bound.
var topicCap = [ruleCount]int{
	RuleContact: 80, RuleDating: 80, RuleGambling: 200, RuleFinance: 80, RuleReward: 80, RuleHealth: 80, RuleFuneral: 90,
	RuleSensitive: 200, RuleFraud: 200,
}

// policy is what one class allows one rule.
type policy struct {
	shift     int // added to both thresholds
	strongest Action
	// formal keeps the threshold of review: what is dunned in due form is for a person to read.
	formal bool
	// single lets a term that weighs blockAt by itself block without the shift.
	single bool
}

// policyOf is the line of the table for a class; one that nobody knows is as good as none.
func policyOf(c Class) *[ruleCount]policy {
	if c != ClassUnknown {
		if line, ok := policies()[c]; ok {
			return line
		}
	}
	return unknownPolicy
}

var unknownPolicy = newPolicy(ClassUnknown)

var policies = sync.OnceValue(func() map[Class]*[ruleCount]policy {
	table := make(map[Class]*[ruleCount]policy, len(Classes))
	for _, c := range Classes {
		table[c] = newPolicy(c)
	}
	return table
})

// newPolicy makes the line of the table for a class.
//
//	class            rule 1            2 3 5 6 7 8 x    4 11
//	unknown          review            block            block
//	transactional    review, +40       block, +40       block
//	marketing_optin  pass              block            block
//	marketing_blind  block             block            block
func newPolicy(c Class) *[ruleCount]policy {
	line := new([ruleCount]policy)
	for r := range line {
		line[r] = policy{strongest: ActionBlock, single: true}
	}
	line[RuleMarketing].strongest = ActionReview
	switch {
	case c == ClassMarketingOptIn:
		line[RuleMarketing].strongest = ActionPass
	case c == ClassMarketingBlind:
		line[RuleMarketing].strongest = ActionBlock
	case c != ClassUnknown:
		for r := range line {
			if r := Rule(r); r != RuleGambling && r != RuleSensitive {
				line[r].shift = transactionalShift
			}
		}
		line[RuleFinance].formal = c == ClassPaymentReminder
	}
	return line
}
