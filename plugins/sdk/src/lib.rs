//! What every Witgate plugin needs: the hooks, the host's services, and the export glue.
