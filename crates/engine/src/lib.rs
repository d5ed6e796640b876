//! One shard: growing and sealed segments, views, filters, flush, merge; and the embedded collection around it.
