;; Is a component, and has nothing of ours.
(component)
