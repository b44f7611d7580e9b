import numpy as np
import pandas as pd
import streamlit as st

st.set_page_config(page_title="Dashboard", layout="wide")
st.title("Your dashboard starts here")
st.caption("Say what it should show, or edit `app.py`: the page runs again by itself.")


@st.cache_data
def sales(days: int) -> pd.DataFrame:
    """Sample data, the same at every run."""
    random = np.random.default_rng(7)
    dates = pd.date_range("2026-01-01", periods=days, name="date")
    trend = np.linspace(40, 90, days)
    return pd.DataFrame(
        {
            "Coffee": trend + random.normal(0, 8, days),
            "Tea": trend * 0.7 + random.normal(0, 6, days),
            "Cake": trend * 0.5 + random.normal(0, 10, days),
        },
        index=dates,
    ).clip(lower=0).round(1)


with st.sidebar:
    days = st.slider("Days", 14, 180, 90)
    products = st.multiselect("Products", ["Coffee", "Tea", "Cake"], default=["Coffee", "Tea", "Cake"])

data = sales(days)[products]
if data.empty:
    st.info("Choose a product on the left.")
    st.stop()

columns = st.columns(len(products))
for column, product in zip(columns, products):
    last, before = data[product].iloc[-7:].mean(), data[product].iloc[-14:-7].mean()
    column.metric(product, f"{last:.0f} a day", f"{last - before:+.1f} to the week before")

st.line_chart(data)
with st.expander("All numbers"):
    st.dataframe(data)
