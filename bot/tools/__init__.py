"""The tools of one turn and the policy that guards them."""
